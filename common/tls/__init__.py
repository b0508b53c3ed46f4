"""Who may speak to whom: certificates of a private authority, and what a failed handshake says about them."""
