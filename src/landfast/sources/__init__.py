"""Where events come from: adapters of the Source and Extent ports."""
