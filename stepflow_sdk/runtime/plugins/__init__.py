"""Ways to reach components: one plugin for each."""
