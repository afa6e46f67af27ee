module cgagent.test/reaper

go 1.24.0
