module cgagent.example/dockercalls

go 1.24

require github.com/moby/moby/client v0.6.3
