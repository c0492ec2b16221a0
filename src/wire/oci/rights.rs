//! Actions on a repository, and a caller's rights to them.

/// An action on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read blobs, manifests, tags, referrers.
    Pull,
    /// Upload blobs, put manifests.
    Push,
    /// Remove manifests, tags, blobs.
    Delete,
}

impl Action {
    /// The word in scopes and tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// The actions that a challenge asks for, so that one token serves the client's next steps too.
    pub fn scope(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

/// A caller's rights in a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// May read.
    pub pull: bool,
    /// May write.
    pub push: bool,
    /// May remove.
    pub delete: bool,
}

impl Rights {
    /// Everything, as the owner.
    pub const ALL: Self = Self { pull: true, push: true, delete: true };

    /// Reading at most.
    pub fn reading(pull: bool) -> Self {
        Self { pull, ..Self::default() }
    }

    /// Whether these rights permit an action.
    pub fn permit(self, action: Action) -> bool {
        match action {
            Action::Pull => self.pull,
            Action::Push => self.push,
            Action::Delete => self.delete,
        }
    }

    /// The rights that both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { pull: self.pull && other.pull, push: self.push && other.push, delete: self.delete && other.delete }
    }

    /// The words in a token's access claim.
    pub fn words(self) -> Vec<String> {
        [Action::Pull, Action::Push, Action::Delete].into_iter().filter(|a| self.permit(*a)).map(|a| a.as_str().to_owned()).collect()
    }
}
