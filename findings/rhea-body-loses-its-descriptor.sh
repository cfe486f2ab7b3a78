#!/usr/bin/env bash
# A rhea client sends a described value as the body of a message: declare, for a transaction coordinator.
#
# Expected: the amqp-value section holds the described value, descriptor and all, as it does for any other
#   AMQP client: 00 53 77 (amqp-value), 00 53 31 (declare), 45 (an empty list).
# Seen: 00 53 77 45. The descriptor of the section takes the place of the body's own, without an error, so
#   the coordinator reads an empty list. And a transfer with a state, which a message of a transaction needs,
#   cannot be written at all: "No wrapper for field state of type delivery_state".
# Why it matters: an application on rhea (or on a library on top of it) that builds transactions from rhea's
#   parts gets "neither declare nor discharge" from a correct broker and looks for the fault there; and any
#   described body is changed on its way without a word.
#
# Needs node and npm.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" rhea@3.0.5 >npm.log
cat >body.mjs <<'JS'
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
const { version } = require('rhea/package.json')
const types = require('rhea/lib/types.js')
const message = require('rhea/lib/message.js')
const frames = require('rhea/lib/frames.js')

const declare = types.wrap_described([], 0x31)
const bytes = message.encode({ body: declare })
const section = bytes.subarray(bytes.lastIndexOf(Buffer.from('005377', 'hex'))).toString('hex')
const state = types.wrap_described([types.wrap_binary(Buffer.from('id'))], 0x34)
let refusal = 'none'
try {
  frames.transfer({ handle: 0, delivery_id: 0, state }).described()
} catch (error) {
  refusal = error.message
}
console.log(`rhea ${version}: body ${section}, expected 00537700533145; transfer with a state: ${refusal}`)
process.exit(section === '00537745' && refusal.startsWith('No wrapper for field state') ? 0 : 1)
JS
node body.mjs
