-- The position of the latest event.
SELECT position FROM eventcore.sequencer
