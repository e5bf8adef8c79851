"""The public calls: recipes check what they take, pipelines do what they do, and both are loaded when called."""
