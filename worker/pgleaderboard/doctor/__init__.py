"""What a sync rests on, looked at piece by piece."""
