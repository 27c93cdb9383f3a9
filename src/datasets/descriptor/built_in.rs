pub(in crate::datasets) fn built_in() {}
