"""The starter's custom actions and its demo shop: orders, products, and what was arranged in the chat.

Data: orders.py and products.py with their CSV files, cases.py, tries.py. Talk: the other modules, one per subject.
"""
