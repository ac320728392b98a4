"""Thin shell around Kafka: reading logs, producing, topic administration, dead letters, the embedded broker."""
