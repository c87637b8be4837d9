"""The claims that need current Jaeger and Prometheus binaries: `make test-backends`."""
