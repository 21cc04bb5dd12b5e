"""Reading and naming that several sources share: exact numbers, instants, JSON, tags, providers. No source lives
here."""
