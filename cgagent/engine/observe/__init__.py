"""What the engine observes of containers and groups: samples, kernel events, sizes, traces."""
