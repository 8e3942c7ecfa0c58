"""What a sweep leaves behind: columns, Parquet in and out, fronts, choices."""
