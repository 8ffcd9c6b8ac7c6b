"""Recommendations for whole files of sessions, from a server or a bundle; continued where a run was interrupted.

with OfflineClient("model_repository/shop") as client:
    report = recommend_file("sessions.parquet", "recommendations.parquet", client, k=20)
"""

from nextitem_client.bulk._run import DEFAULT_CONCURRENCY, DEFAULT_SESSION_COLUMN, BulkReport, recommend_file

__all__ = ["DEFAULT_CONCURRENCY", "DEFAULT_SESSION_COLUMN", "BulkReport", "recommend_file"]
