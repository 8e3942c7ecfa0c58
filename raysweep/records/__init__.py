"""The records of a sweep: columns, Parquet files, objectives and fronts, the best trial."""
