"""The loop under `kill -9`: kill points, a stand-in of Label Studio, rounds and what must hold."""
