import test from 'ava'
import { FrameSplitter } from '../../src/remoting/frame.ts'
import { PartialFrames } from '../../src/remoting/serving/partial-frames.ts'

const KIB = 1024
/** A frame of 200 KiB. */
const FRAME = Buffer.alloc(200 * KIB)
FRAME.writeInt32BE(FRAME.length - 4)
const START = FRAME.subarray(0, 150 * KIB)
const REST = FRAME.subarray(START.length)

/** A peer whose frames count, and what became of them. */
function peerOf(frames: PartialFrames) {
  const peer = { dropped: 0, whole: 0 }
  const splitter = new FrameSplitter(
    () => peer.whole++,
    undefined,
    undefined,
    undefined,
    (bytes) =>
      frames.hold(peer, bytes, () => {
        peer.dropped++
      }),
  )
  return Object.assign(peer, {
    send: (bytes: Buffer) => splitter.push(bytes),
    close: () => splitter.close(),
  })
}

test('beyond the sum the oldest partial frame is given up, and the newer ones come whole', (t) => {
  const frames = new PartialFrames(400 * KIB)
  const peers = Array.from({ length: 3 }, () => peerOf(frames))
  for (const peer of peers) peer.send(START)
  t.deepEqual(
    peers.map(({ dropped }) => dropped),
    [1, 0, 0],
  )
  for (const peer of peers.slice(1)) peer.send(REST)
  t.deepEqual(
    peers.map(({ whole }) => whole),
    [0, 1, 1],
  )
})

test('a frame that came whole, or went with its peer, makes room', (t) => {
  const frames = new PartialFrames(400 * KIB)
  const first = peerOf(frames)
  for (let i = 0; i < 10; i++) {
    const peer = peerOf(frames)
    peer.send(START)
    if (i % 2 === 0) peer.send(REST)
    else peer.close()
    first.send(START)
    first.send(REST)
    t.deepEqual([peer.dropped, first.dropped, first.whole], [0, 0, i + 1])
  }
})

test('a frame that grows keeps its age', (t) => {
  const frames = new PartialFrames(400 * KIB)
  const [first, second, third] = Array.from({ length: 3 }, () => peerOf(frames))
  first!.send(START.subarray(0, 100 * KIB))
  second!.send(START)
  first!.send(START.subarray(100 * KIB))
  third!.send(START)
  t.deepEqual([first!.dropped, second!.dropped, third!.dropped], [1, 0, 0])
})

test('small partial frames are not counted', (t) => {
  const frames = new PartialFrames(0)
  const peer = peerOf(frames)
  peer.send(START.subarray(0, 64 * KIB))
  t.is(peer.dropped, 0)
  peer.send(START.subarray(64 * KIB))
  t.is(peer.dropped, 1)
})
