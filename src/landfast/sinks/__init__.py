"""Where events land: one package per kind of table, each keeping the contract of `ports.Sink`."""
