// Package spool keeps records on disk until they are done with: an append-only log in segments, with a list of done records beside
// each segment.
//
// A segment NNNNNNNNNN.log holds records, one after the other, each with a mark, its length and a CRC-32C. Beside it,
// NNNNNNNNNN.done lists the offsets of the records that are done with. When all records of a segment are done with, both
// files go. A segment is never written to again after a restart: what a crash left half-written stays where it is.
//
// # Crashes
//
// A record is on disk, as far as the sync policy reaches, when Append has returned. What a crash can cost is the end of a list of
// done records; then records come back that had been done with. Since the records of one key are done with in their order, a
// record that is done with stands for all before it of its key.
//
// # Damage
//
// A record that does not fit its check sum is skipped up to the next one that does. The bytes between are copied to the folder aside
// and reported with their file and offset; every other record is unharmed. A page that the disk cannot read when the folder is opened
// counts as damaged, and its segment stays, for another time it may be readable. Which page that was stands in the list of done records:
// the records in there do not become done with by later ones that are. When they can be read again, they come back if none of their
// key has overtaken them, and are set aside otherwise. A segment whose damage cannot be copied, as on a full disk, stays too.
//
// A sync that fails is never tried again: the system may count the pages as written from then on. What Append was to write is taken
// back, and the next record begins a new segment.
//
// # Why a log of our own
//
// bbolt is well kept and was the first candidate. It keeps a B+tree of pages: a page that is damaged costs every record behind
// it and cannot be named as one record; a commit syncs twice and rewrites pages at random; the file never shrinks after an outage.
// The logs that exist as libraries (tidwall/wal, raft-wal, the log of etcd) stop at the first damaged record, and forget only from
// the front, while here one device that is stuck must not keep the records of all others. What is left is small enough to be read
// in one sitting.
package spool
