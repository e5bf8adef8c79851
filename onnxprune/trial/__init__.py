"""The model under masks: what it computes, loses and learns while channels are switched off."""
