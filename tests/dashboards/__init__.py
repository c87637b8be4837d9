"""Boards, alerts and configurations, with the real tools."""
