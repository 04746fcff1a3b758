"""The formats of other programs: what each holds, and how it is written."""
