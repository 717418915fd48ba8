"""Prompts written for other tools become prompts of Wan 2.2, and every part of them is accounted for.

A dialect's parser turns text into a :class:`~filmgate.direction.migration.form.Form`, rules turn what a text encoder
cannot read (numbers, weights, negations, job settings) into what it can, the renderer writes sentences, and the ledger
says of each part what became of it. Nothing is executed and nothing is invented.
"""
