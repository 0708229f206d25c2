"""The inference process: its client in the daemon, the server in the process, and what passes between them.

client            what the daemon calls: give volumes back, in order · arrivals: open a volume, place planes
inference_server  what runs in the process: messages in, the engine of `care_live.restore`, results out
protocol          the messages · shared_memory, buffers: pixels that both sides see
supervisor        one process at a time, replaced when it is lost · inference_process: one of them
inference_link    what all of these have in common · remote_port, remote_inference: one on another machine
liveness, processor_pace, limits  when it is lost · trial, hot_swap: another network, tried and taken between volumes
"""
