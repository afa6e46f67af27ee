"""Dashboards for Grafana, made from typed descriptions."""
