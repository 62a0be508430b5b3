"""From labelled data to a measured model artifact. A library over plain data; no database, no assistant folder."""
