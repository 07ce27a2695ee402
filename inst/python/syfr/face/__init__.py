"""What owners and clients call: clusters, sharing, serving, queries, as long work in short steps."""
