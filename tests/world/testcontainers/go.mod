module cgagent.test/testcontainers

go 1.24.0

require github.com/testcontainers/testcontainers-go v0.45.0
