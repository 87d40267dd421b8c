"""What is written as it happens: the journal, the history, and the folder that holds a run."""
