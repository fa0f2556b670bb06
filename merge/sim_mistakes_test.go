package merge

// mistake is what a simulation does wrong: a rule of this package left out.
type mistake uint8

const (
	noMistake          mistake = iota
	raiseEarly                 // a directory's Ctx is raised before its subtree is done
	forgetGhosts               // a deletion keeps no explicit context
	noMax                      // directories above do not learn what was learned below
	noSettle                   // settings outlive the name that they are of
	settleFree                 // they are removed without a change
	dropAliases                // of equal versions one stays, the other's dots are forgotten
	attrRegister               // attributes are one register that dies with the name
	forgetGone                 // a new directory does not take over what is known of an earlier one
	untainted                  // a directory is finished though another pull has changed it
	ghostsNotCopied            // a peer's explicit context is dropped where nothing visible changes
	removeAnyDir               // any directory without entries is forgotten
	lackingSkipped             // directories that the peer lacks are not joined
	indexChangedOnly           // the index has only names that an apply changed
	indexForgetsBelow          // the index above does not tell what was learned below
	indexForgetsWhole          // partial listings after whole ones were applied
	indexDropsSilently         // rows leave the index and Whole does not take them in
	keepRestoredID             // a restored replica goes on under its ID
	keepClonedID               // so does a clone
	freeResolution             // a conflict is resolved without a change
	theirContext               // a missing name takes over the peer's context alone
	lateSeen                   // a writer supersedes what came after it had opened the file
	secondLife                 // a name that is made again starts with no context
	lastPiece                  // a directory is finished with the view of its last piece
	middlePiece                // a piece between others tells of all names up to its last
	clockOnly                  // stamps are the clock's, be it behind
	mistakes
)

var mistakeNames = [mistakes]string{
	noMistake:          "no mistake",
	raiseEarly:         "a directory's Ctx is raised before its subtree is done",
	forgetGhosts:       "a deletion keeps no explicit context",
	noMax:              "directories above do not learn what was learned below",
	noSettle:           "settings outlive the name that they are of",
	settleFree:         "settings of an absent name are removed without a change",
	dropAliases:        "of equal versions one stays, the other's dots are forgotten",
	attrRegister:       "attributes are one register that dies with the name",
	forgetGone:         "a new directory does not take over what is known of an earlier one",
	untainted:          "a directory is finished though another pull has changed it",
	ghostsNotCopied:    "a peer's explicit context is dropped where nothing visible changes",
	removeAnyDir:       "any directory without entries is forgotten",
	lackingSkipped:     "directories that the peer lacks are not joined",
	indexChangedOnly:   "the index has only names that an apply changed",
	indexForgetsBelow:  "the index above does not tell what was learned below",
	indexForgetsWhole:  "partial listings after whole ones were applied",
	indexDropsSilently: "rows leave the index and Whole does not take them in",
	keepRestoredID:     "a restored replica goes on under its ID",
	keepClonedID:       "so does a clone",
	freeResolution:     "a conflict is resolved without a change",
	theirContext:       "a missing name takes over the peer's context alone",
	lateSeen:           "a writer supersedes what came after it had opened the file",
	secondLife:         "a name that is made again starts with no context",
	lastPiece:          "a directory is finished with the view of its last piece",
	middlePiece:        "a piece between others tells of all names up to its last",
	clockOnly:          "stamps are the clock's, be it behind",
}

func (m mistake) String() string { return mistakeNames[m] }
