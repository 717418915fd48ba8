"""At home with other tools: their settings become a Request of the same meaning, and a Request becomes theirs.

One file per dialect. Nothing is executed, nothing is loaded, and every setting has an entry in a report.
"""
