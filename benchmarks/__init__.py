"""What Landfast costs on a real Kafka, beside the loop most people write and the floors nobody can pass: `make bench`."""
