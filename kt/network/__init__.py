"""The whole network: preprocessing, backbone and head in one functional model."""
