"""What several backends share: exploration noise, what is read from weights, the watch over the gain."""
