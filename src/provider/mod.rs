//! How Kubernetes gets onto hosts. What is to be done is decided by pure
//! functions; what does it runs behind `execute::Hosts`.

pub(crate) mod kubeadm;
