"""The items table: reading it and encoding it with NVTabular."""
