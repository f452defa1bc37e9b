"""What answers a request. Each handler calls the lowest floor that knows the answer."""
