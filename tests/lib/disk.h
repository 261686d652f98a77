/*
 * A disk that can be full: a small filesystem in memory, in a folder of the test. The mount is seen
 * by this process and its children only, and ends with them.
 */
#pragma once

/* options: of a tmpfs, "size=40m". NULL: nothing can be mounted here. Free with disk_free. */
char *disk_new(const char *options);
/* Another size. */
void disk_resize(const char *folder, const char *options);
/* Takes all the room that is left. */
void disk_fill(const char *folder);
void disk_free(char *folder);
