"""From a Graph to DOT and Mermaid, and from DOT text to pictures."""
