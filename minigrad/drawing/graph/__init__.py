"""From a tape to a Graph: plain data that says what is drawn."""
