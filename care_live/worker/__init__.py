"""The inference process: its client in the daemon, the server in the process, and what passes between them.

client          what the daemon calls: open a volume, place planes, get volumes back; replaces what is lost
inference_server  what runs in the process: messages in, the engine of `care_live.restore`, results out
protocol        the messages · shared_memory, buffers: pixels that both sides see · arrivals: volumes on their way
inference_process  one life of the process, as the client sees it · liveness, processor_pace, limits: when it is lost
trial, hot_swap   another network tried on real volumes, and taken between two
"""
