// Why the relay and a library answer differently, each with the rule that decides. A difference that is not here is a fault of somebody.
// ours: the relay's verdict; theirs: what the library finds wrong, "accepted" for nothing; kinds: of change.
const explanations = [
  {
    rule: 'repository, CAR File Serialization: blocks that are not needed are ignored; the libraries were made to hash all',
    ours: /^accepted$/,
    theirs: /^block does not match its CID$/,
    kinds: /^(bit|block\.(bit|foreign|cut))$/,
    // It must be a block that is not needed: without it the library accepts as well.
    onlyIfUnneeded: true,
  },
  {
    rule: 'sync, Operation Inversion: where the ops, undone, leave a link as the root, its CID is the tree before; this library wants the node',
    oracle: 'atcute',
    ours: /^accepted$/,
    theirs: /^(block does not match its CID|missing block in store)/,
    kinds: /^(bit|block\.(bit|cut|missing))$/,
    // It must be that node alone: the other library accepts without it.
    onlyIfRootBefore: true,
  },
  {
    rule: 'sync, Operation Inversion: nodes are needed that are opened to undo the ops; this library also opens what hangs below a node without keys, to learn its height',
    oracle: 'atproto',
    ours: /^accepted$/,
    theirs: /^(block does not match its CID$|block not found)/,
    kinds: /^(bit|block\.(bit|missing))$/,
    // It must be such a node alone: the other library accepts without it.
    onlyIfBelowKeyless: true,
  },
  {
    rule: 'DASL, CAR and CID: every block has a CID of the one form, codec dag-cbor or raw; this library takes others where they are not needed',
    oracle: 'atproto',
    ours: /^bad_car$/,
    theirs: /^accepted$/,
    kinds: /^(bit|block\.(bit|unblessed))$/,
  },
  {
    rule: 'subscribeRepos lexicon: blocks have at most 2,000,000 bytes; the libraries take an archive of any size',
    ours: /^blocks_too_large$/,
    theirs: /^accepted$/,
    kinds: /^block\.(twice|unblessed)$/,
    // It must be as large as that.
    onlyIfLarger: 2_000_000,
  },
  {
    rule: 'subscribeRepos lexicon: a message has its required fields, with their types and syntax; the libraries check repositories only',
    ours: /^frame_bad_fields$/,
    theirs: /^accepted$/,
    kinds: /^(bit|field\.(seq_zero|seq_negative|seq_missing|since_missing|time_wrong|prev_data_null))$/,
    // What the libraries look at is as it was.
    sameFields: ['repo', 'rev', 'commit', 'blocks', 'ops'],
  },
]

// Those that may be, most likely first.
export function explain({ oracle, kind, ours, theirs }) {
  return explanations.filter((e) => e.ours.test(ours) && e.theirs.test(theirs ?? 'accepted') && e.kinds.test(kind) && (!e.oracle || e.oracle === oracle))
}
