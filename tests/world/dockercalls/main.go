// Every call of docker's own client for Go, once, against the agent at $DOCKER_HOST.
//
// Prints a line for each: its name, and "ok" or the error. Needs the images alpine and hello-world,
// the second one at a registry.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

var (
	ctx = context.Background()
	cli *client.Client
)

func call(name string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", name, err)
		return
	}
	fmt.Printf("%s: ok\n", name)
}

func need(is bool, format string, values ...any) error {
	if is {
		return nil
	}
	return fmt.Errorf(format, values...)
}

func read(from io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer from.Close()
	found, err := io.ReadAll(from)
	return string(found), err
}

func main() {
	var err error
	cli, err = client.New(client.FromEnv)
	if err != nil {
		panic(err)
	}
	aboutTheAgent()
	images()
	id := containers()
	files(id)
	execs(id)
	control(id)
	networks(id)
	volumes()
	theEnd(id)
	notHere()
}

func aboutTheAgent() {
	ping, err := cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err == nil {
		err = need(ping.OSType == "linux" && ping.APIVersion != "", "ping says %+v", ping)
	}
	call("Ping", err)
	version, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err == nil {
		err = need(version.Version != "", "no version")
	}
	call("ServerVersion", err)
	info, err := cli.Info(ctx, client.InfoOptions{})
	if err == nil {
		err = need(info.Info.NCPU > 0, "no CPUs")
	}
	call("Info", err)
}

func images() {
	pulled, err := cli.ImagePull(ctx, "hello-world", client.ImagePullOptions{})
	if err == nil {
		err = pulled.Wait(ctx)
	}
	call("ImagePull", err)
	_, err = cli.ImageTag(ctx, client.ImageTagOptions{Source: "hello-world", Target: "mine:one"})
	call("ImageTag", err)
	filters := make(client.Filters).Add("reference", "mine")
	listed, err := cli.ImageList(ctx, client.ImageListOptions{Filters: filters})
	if err == nil {
		err = need(len(listed.Items) == 1, "%d images", len(listed.Items))
	}
	call("ImageList", err)
	one, err := cli.ImageInspect(ctx, "mine:one")
	if err == nil {
		err = need(one.Os == "linux" && len(one.RootFS.Layers) == 2, "%+v", one)
	}
	call("ImageInspect", err)
	_, err = cli.ImageHistory(ctx, "mine:one")
	call("ImageHistory", err)
	saved, err := cli.ImageSave(ctx, []string{"mine:one"})
	archive, err := read(saved, err)
	call("ImageSave", err)
	_, err = cli.ImageRemove(ctx, "mine:one", client.ImageRemoveOptions{})
	call("ImageRemove", err)
	loaded, err := cli.ImageLoad(ctx, bytes.NewReader([]byte(archive)))
	text, err := read(loaded, err)
	if err == nil {
		err = need(bytes.Contains([]byte(text), []byte("Loaded image: mine:one")), "%s", text)
	}
	call("ImageLoad", err)
	_, err = cli.ImageRemove(ctx, "mine:one", client.ImageRemoveOptions{})
	call("ImageRemove again", err)
	_, err = cli.ImagePrune(ctx, client.ImagePruneOptions{})
	call("ImagePrune", err)
	_, err = cli.ImageSearch(ctx, os.Getenv("REGISTRY")+"/alpine", client.ImageSearchOptions{})
	call("ImageSearch", err)
}

func containers() string {
	made, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "calls",
		Config: &container.Config{
			Image:     "alpine",
			Cmd:       []string{"sh", "-c", "echo out; echo err >&2; exec cat"},
			OpenStdin: true,
			Labels:    map[string]string{"of": "calls"},
		},
		HostConfig: &container.HostConfig{Resources: container.Resources{Memory: 64 << 20}},
	})
	call("ContainerCreate", err)
	attached, err := cli.ContainerAttach(ctx, made.ID, client.ContainerAttachOptions{
		Stream: true, Stdin: true, Stdout: true, Stderr: true,
	})
	call("ContainerAttach", err)
	_, err = cli.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
	call("ContainerStart", err)
	_, _ = attached.Conn.Write([]byte("through\n"))
	var out, failures bytes.Buffer
	_ = attached.Conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = stdcopy.StdCopy(&out, &failures, attached.Reader)
	attached.Close()
	call("attached", need(out.String() == "out\nthrough\n" && failures.String() == "err\n",
		"%q %q", out.String(), failures.String()))
	one, err := cli.ContainerInspect(ctx, made.ID, client.ContainerInspectOptions{Size: true})
	if err == nil {
		c := one.Container
		err = need(c.State.Running && c.HostConfig.Memory == 64<<20 && c.Name == "/calls", "%+v", c)
	}
	call("ContainerInspect", err)
	filters := make(client.Filters).Add("label", "of=calls")
	listed, err := cli.ContainerList(ctx, client.ContainerListOptions{Filters: filters})
	if err == nil {
		err = need(len(listed.Items) == 1 && listed.Items[0].State == "running", "%+v", listed)
	}
	call("ContainerList", err)
	logs, err := cli.ContainerLogs(ctx, made.ID, client.ContainerLogsOptions{ShowStderr: true})
	text, err := read(logs, err)
	if err == nil {
		err = need(len(text) == 8+4 && text[0] == 2, "%q", text)
	}
	call("ContainerLogs", err)
	top, err := cli.ContainerTop(ctx, made.ID, client.ContainerTopOptions{})
	if err == nil {
		err = need(len(top.Processes) == 1, "%+v", top)
	}
	call("ContainerTop", err)
	stats, err := cli.ContainerStats(ctx, made.ID, client.ContainerStatsOptions{})
	text, err = read(stats.Body, err)
	call("ContainerStats", err)
	return made.ID
}

func files(id string) {
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	_ = out.WriteHeader(&tar.Header{Name: "file", Size: 4, Mode: 0o644})
	_, _ = out.Write([]byte("text"))
	_ = out.Close()
	_, err := cli.CopyToContainer(ctx, id, client.CopyToContainerOptions{
		DestinationPath: "/tmp", Content: &archive,
	})
	call("CopyToContainer", err)
	stat, err := cli.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: "/tmp/file"})
	if err == nil {
		err = need(stat.Stat.Size == 4 && stat.Stat.Mode.IsRegular(), "%+v", stat)
	}
	call("ContainerStatPath", err)
	copied, err := cli.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: "/tmp"})
	if err == nil {
		err = need(copied.Stat.Mode.IsDir(), "%+v", copied.Stat)
		_ = copied.Content.Close()
	}
	call("CopyFromContainer", err)
	diff, err := cli.ContainerDiff(ctx, id, client.ContainerDiffOptions{})
	if err == nil {
		err = need(len(diff.Changes) == 2, "%+v", diff)
	}
	call("ContainerDiff", err)
	_, err = read(cli.ContainerExport(ctx, id, client.ContainerExportOptions{}))
	call("ContainerExport", err)
	made, err := cli.ContainerCommit(ctx, id, client.ContainerCommitOptions{
		Reference: "calls:made", Changes: []string{"ENV A=b"},
	})
	call("ContainerCommit", err)
	_, err = cli.ImageRemove(ctx, made.ID, client.ImageRemoveOptions{})
	call("ImageRemove by id", err)
}

func execs(id string) {
	made, err := cli.ExecCreate(ctx, id, client.ExecCreateOptions{
		Cmd: []string{"sh", "-c", "echo $A; exit 7"}, Env: []string{"A=b"},
		AttachStdout: true, AttachStderr: true,
	})
	call("ExecCreate", err)
	attached, err := cli.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	call("ExecAttach", err)
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, attached.Reader)
	attached.Close()
	call("exec's output", need(err == nil && out.String() == "b\n", "%v %q", err, out.String()))
	one, err := cli.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err == nil {
		err = need(one.ExitCode == 7 && !one.Running, "%+v", one)
	}
	call("ExecInspect", err)
	again, err := cli.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: []string{"sleep", "10"}, TTY: true})
	call("ExecCreate with a terminal", err)
	_, err = cli.ExecStart(ctx, again.ID, client.ExecStartOptions{Detach: true, TTY: true})
	call("ExecStart", err)
	_, err = cli.ExecResize(ctx, again.ID, client.ExecResizeOptions{Height: 10, Width: 20})
	call("ExecResize", err)
}

func control(id string) {
	_, err := cli.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{
		Resources:     &container.Resources{Memory: 96 << 20, MemorySwap: 96 << 20},
		RestartPolicy: &container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 1},
	})
	call("ContainerUpdate", err)
	_, err = cli.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	call("ContainerPause", err)
	_, err = cli.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	call("ContainerUnpause", err)
	_, err = cli.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: "renamed"})
	call("ContainerRename", err)
	now := 0
	_, err = cli.ContainerRestart(ctx, id, client.ContainerRestartOptions{Timeout: &now})
	call("ContainerRestart", err)
	_, err = cli.ContainerResize(ctx, id, client.ContainerResizeOptions{Height: 10, Width: 20})
	call("ContainerResize", err)
	usage, err := cli.DiskUsage(ctx, client.DiskUsageOptions{
		Containers: true, Images: true, Volumes: true, Verbose: true,
	})
	if err == nil {
		err = need(usage.Containers.TotalCount == 1 && len(usage.Images.Items) > 0, "%+v", usage)
	}
	call("DiskUsage", err)
}

func networks(id string) {
	made, err := cli.NetworkCreate(ctx, "calls-net", client.NetworkCreateOptions{
		Labels: map[string]string{"of": "calls"},
	})
	call("NetworkCreate", err)
	_, err = cli.NetworkConnect(ctx, made.ID, client.NetworkConnectOptions{
		Container:      id,
		EndpointConfig: &network.EndpointSettings{Aliases: []string{"known"}},
	})
	call("NetworkConnect", err)
	one, err := cli.NetworkInspect(ctx, "calls-net", client.NetworkInspectOptions{})
	if err == nil {
		err = need(len(one.Network.Containers) == 1, "%+v", one.Network)
	}
	call("NetworkInspect", err)
	_, err = cli.NetworkDisconnect(ctx, made.ID, client.NetworkDisconnectOptions{Container: id})
	call("NetworkDisconnect", err)
	filters := make(client.Filters).Add("label", "of=calls")
	listed, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err == nil {
		err = need(len(listed.Items) == 1, "%+v", listed)
	}
	call("NetworkList", err)
	_, err = cli.NetworkRemove(ctx, made.ID, client.NetworkRemoveOptions{})
	call("NetworkRemove", err)
	_, err = cli.NetworkPrune(ctx, client.NetworkPruneOptions{Filters: filters})
	call("NetworkPrune", err)
}

func volumes() {
	_, err := cli.VolumeCreate(ctx, client.VolumeCreateOptions{
		Name: "calls-data", Labels: map[string]string{"of": "calls"},
	})
	call("VolumeCreate", err)
	_, err = cli.VolumeInspect(ctx, "calls-data", client.VolumeInspectOptions{})
	call("VolumeInspect", err)
	filters := make(client.Filters).Add("label", "of=calls")
	listed, err := cli.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	if err == nil {
		err = need(len(listed.Items) == 1, "%+v", listed)
	}
	call("VolumeList", err)
	_, err = cli.VolumeRemove(ctx, "calls-data", client.VolumeRemoveOptions{})
	call("VolumeRemove", err)
	_, err = cli.VolumePrune(ctx, client.VolumePruneOptions{Filters: filters})
	call("VolumePrune", err)
}

func theEnd(id string) {
	since := time.Now()
	waiting := cli.ContainerWait(ctx, id, client.ContainerWaitOptions{
		Condition: container.WaitConditionNextExit,
	})
	_, err := cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
	call("ContainerKill", err)
	select {
	case ended := <-waiting.Result:
		call("ContainerWait", need(ended.StatusCode == 137, "%+v", ended))
	case err := <-waiting.Error:
		call("ContainerWait", err)
	}
	now := 0
	_, err = cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
	call("ContainerStart again", err)
	_, err = cli.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &now})
	call("ContainerStop", err)
	_, err = cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{})
	call("ContainerRemove", err)
	events := cli.Events(ctx, client.EventsListOptions{
		Since:   fmt.Sprint(since.Unix()),
		Until:   fmt.Sprintf("%d.%09d", time.Now().Unix(), time.Now().Nanosecond()),
		Filters: make(client.Filters).Add("container", id).Add("event", "destroy"),
	})
	select {
	case event := <-events.Messages:
		call("Events", need(event.Action == "destroy" && event.Actor.ID == id, "%+v", event))
	case err := <-events.Err:
		call("Events", err)
	}
	filters := make(client.Filters).Add("label", "of=calls")
	_, err = cli.ContainerPrune(ctx, client.ContainerPruneOptions{Filters: filters})
	call("ContainerPrune", err)
}

func notHere() {
	_, err := cli.ContainerInspect(ctx, "nobody", client.ContainerInspectOptions{})
	call("no container", err)
	_, err = cli.SwarmInspect(ctx, client.SwarmInspectOptions{})
	call("SwarmInspect", err)
	_, err = cli.PluginList(ctx, client.PluginListOptions{})
	call("PluginList", err)
}
