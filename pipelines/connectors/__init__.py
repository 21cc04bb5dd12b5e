"""One file per source. A connector turns one landed file into canonical rows; connectors never import each other."""
