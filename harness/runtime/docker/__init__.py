"""The docker runtime: nodes in containers. `engine` finds the engine, `images` makes what runs on
it; neither imports the docker package before it is needed."""
