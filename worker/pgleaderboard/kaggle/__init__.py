"""Requests to Kaggle. Only this package knows the SDK, `kagglesdk`.

credential.py  finds the credential, in Kaggle's own order
transport.py   adds time-outs and a deadline below the SDK's session
session.py     the SDK's client: signs in, renews an OAuth token
errors.py      turns a failed request into an error for the user
client.py      the three questions: a board, a competition, a search
"""
