// Package chime is the service chime: rings when somebody presses a doorbell.
//
// It hears acme.doorbell.pressed.v1; infra/declaration declares it. Its handler writes to a SQL database, SQLite or PostgreSQL, once
// per event, however often the queue delivers it, and lets no older event overwrite what a newer one has said.
package chime
