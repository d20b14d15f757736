"""Record files for people and programs: NDJSON, CSV and Parquet from decoded columns."""
