"""The lifelong agent: its knowledge, its networks, and the interfaces of strategies and selectors."""
