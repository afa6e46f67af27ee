module cgagent.test/gotemplates

go 1.24.0
